#!/bin/sh
# Finishes the virtual environment when an image is built: the node itself, nothing that serving does not need, a list of
# what is there (SBOM).
set -eu
environment=/opt/csvd-node
packages=$environment/lib/python3.11/site-packages
uv=/opt/build/bin/uv

"$uv" pip install --quiet --python "$environment" --no-deps --no-build-isolation .
"$uv" pip uninstall --quiet --python "$environment" hatchling editables pathspec trove-classifiers
rm "$environment/bin/csvd-train"
python3 docker/prune.py "$packages"
# Not the libraries that wheels bring in folders of their own: those were patched, and strip would break them.
find "$packages" -path '*libs/*' -prune -o -name '*.so*' -type f -exec strip --strip-unneeded {} +
python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash "$packages"
/opt/build/bin/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml \
  --output-file "$environment/sbom.cdx.json" "$environment/bin/python"
