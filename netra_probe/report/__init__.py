"""What a run leaves for those who were not there: an HTML report, JUnit XML, notebooks as pages, the dashboard."""
