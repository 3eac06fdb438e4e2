# Two commands do all set-up: `make demo` runs the main job, `make test` passes the tests.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet
PEERS := dcmtk orthanc orthanc-dicomweb nginx-light dicom3tools default-jre-headless libpixelmed-java chromium postgresql sqlite3 gcc $(shell command -v npm >/dev/null || echo nodejs npm)
BUILDERS := buildah debootstrap podman runc
VIEWER := tests/viewer
PRODUCT := tests/unit tests/integration
OHIF := 3.13.2
ORT := $(shell sed -n 's/^onnxruntime==\([0-9.]*\).*/\1/p' requirements/serve.lock)
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
COMPILE := $(BIN)/uv pip compile --universal --generate-hashes --quiet --python-version 3.11 --no-header --no-annotate

.PHONY: demo test lint types unit slow gpu chart derived image image-gpu image-tools viewer viewer-tools peers lock clean

demo: .venv/serve
	$(BIN)/csvd-node demo tests/data/demo_study --output demo-out

test: .venv/dev peers lint types unit slow

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/dev
	$(BIN)/mypy
	$(PIP) install --no-deps --upgrade --target build/tensorrt tensorrt-cu13-bindings==11.4.0.106
	$(BIN)/python -m tests.support.tensorrt_types build/tensorrt

unit: .venv/dev .venv/s3-server/installed
	$(BIN)/pytest $(PRODUCT) -m "not slow" -n 3 --dist loadfile

# Needs an NVIDIA GPU; writes what was measured on it to build/gpu-report.md.
gpu: .venv/gpu
	$(BIN)/pytest -m gpu tests/gpu

slow: .venv/dev .venv/s3-server/installed viewer-tools
	$(BIN)/pytest $(PRODUCT) -m slow -n 3 --dist loadfile

# The Helm chart and the container files, with the programs that a site would use.
chart: .venv/dev .venv/s3-server/installed .tools/.installed
	$(BIN)/pytest tests/chart -n 2 --dist worksteal

# The files that follow from the code: tables of docs/, the chart's schema, defaults and README, the demonstration's alerts.
derived: .venv/dev .tools/.installed
	$(BIN)/python -m tests.support.derived_files

# The container images, built and run on this machine; as root. Where that cannot be, the tests say why and are skipped.
image: .venv/dev .venv/s3-server/installed
	-@$(MAKE) --no-print-directory image-tools
	$(BIN)/pytest tests/image/test_cpu_image.py

image-gpu: .venv/dev
	-@$(MAKE) --no-print-directory image-tools
	$(BIN)/pytest tests/image/test_gpu_image.py

image-tools:
	@{ command -v buildah && command -v podman && command -v runc && command -v debootstrap; } >/dev/null || { \
	  $(SUDO) apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends $(BUILDERS); }

# The demo Study with the node's results in the OHIF Viewer, until Ctrl-C.
viewer: .venv/dev viewer-tools
	$(BIN)/csvd-node process tests/data/demo_study/dicom --output build/viewer
	$(BIN)/python -m tests.viewer.show tests/data/demo_study/dicom build/viewer

viewer-tools: peers $(VIEWER)/node_modules/.installed

# The OHIF Viewer's package is taken for its prebuilt pages alone; what it depends on is for building them.
$(VIEWER)/node_modules/.installed: $(VIEWER)/package-lock.json $(VIEWER)/ohif.sha512
	cd $(VIEWER) && npm ci --ignore-scripts --silent
	cd $(VIEWER)/node_modules && npm pack --silent @ohif/app@$(OHIF) >/dev/null && \
	  sha512sum --check --quiet ../ohif.sha512 && mkdir -p @ohif/app && \
	  tar xzf ohif-app-$(OHIF).tgz -C @ohif/app --strip-components=1 && rm ohif-app-$(OHIF).tgz
	@touch $@

# The real peers that the tests talk to; nothing is installed where all are there.
peers:
	@{ command -v storescu && command -v dciodvfy && command -v Orthanc && command -v nginx && command -v chromium && command -v npm && command -v sqlite3 && command -v cc && \
	  ls /usr/lib/postgresql/*/bin/initdb && test -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so && test -e /usr/share/java/pixelmed.jar; } >/dev/null || { \
	  $(SUDO) apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends $(PEERS); }

.venv/bin/pip:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "csvd-node needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv

.venv/serve: pyproject.toml requirements/serve.lock | .venv/bin/pip
	$(PIP) install --require-hashes -r requirements/serve.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

.venv/dev: .venv/serve requirements/dev.lock
	$(PIP) install --require-hashes -r requirements/dev.lock
	$(PIP) install torch==2.13.0 monai==1.6.1
	@touch $@

# What runs models on a GPU beside TensorRT for RTX: onnxruntime with CUDA in the place of that without, and full TensorRT.
# Where NVIDIA's index, which has the libraries of the latter, is not reached, its tests are skipped.
.venv/gpu: .venv/dev
	$(PIP) uninstall --yes onnxruntime onnxruntime-gpu
	$(PIP) install 'onnxruntime-gpu[cuda,cudnn]==$(ORT)'
	-$(PIP) install 'tensorrt-cu13>=11,<12'
	@touch $@

# Programs in an environment of their own, so that they do not decide what the node depends on; promtool from Debian.
.tools/.installed: requirements/tools.lock
	$(PYTHON) -m venv .tools
	.tools/bin/pip --disable-pip-version-check --quiet install --require-hashes -r requirements/tools.lock
	@command -v promtool >/dev/null || { $(SUDO) apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends prometheus; }
	@touch $@

# The S3 server of the tests has an environment of its own: its libraries contradict those of the node.
.venv/s3-server/installed: requirements/s3-server.lock | .venv/bin/pip
	$(PYTHON) -m venv .venv/s3-server
	.venv/s3-server/bin/pip --disable-pip-version-check --quiet install --require-hashes -r $<
	@touch $@

lock: | .venv/bin/pip
	$(PIP) install uv
	$(COMPILE) pyproject.toml requirements/build.in -o requirements/serve.lock
	$(COMPILE) pyproject.toml requirements/build.in requirements/dev.in -c requirements/serve.lock -o requirements/dev.lock
	$(COMPILE) requirements/s3-server.in -o requirements/s3-server.lock
	$(COMPILE) pyproject.toml requirements/build.in --extra rtx -c requirements/serve.lock -o requirements/gpu.lock
	$(COMPILE) requirements/image.in -o requirements/image.lock
	$(COMPILE) requirements/tools.in -o requirements/tools.lock

clean:
	rm -rf .venv .tools demo-out build dist $(VIEWER)/node_modules
