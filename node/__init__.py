"""The node: what speaks DICOM, HTTP and SQL."""
