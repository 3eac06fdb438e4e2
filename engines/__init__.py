"""Arrays, geometry and models: volumes in, findings out. Knows nothing of DICOM."""
