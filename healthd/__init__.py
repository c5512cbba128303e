"""The report on this device: who is alive, what fails and since when, over HTTP and as samples."""
