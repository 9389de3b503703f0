"""Does the workbook find known faults: trials on faulty labs, and the matrix of what was seen."""
