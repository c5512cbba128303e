"""What is judged: the stream and the recorder, their tiles and links, and the advice for each reason."""
