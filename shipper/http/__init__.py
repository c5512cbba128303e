"""One body to a server and its answer, in bounded time: connections, token, bytes, and what an answer means."""
