"""healthd: what is heard becomes a verdict, a report, a text for Prometheus and samples."""
