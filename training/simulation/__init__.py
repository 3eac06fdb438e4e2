"""Brain MR made from label maps: tissues, contrast, lesions and their mimics, acquisition, artefacts."""
