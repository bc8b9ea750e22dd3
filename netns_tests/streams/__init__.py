"""The streams of a lab's pods, asked for by kubectl and by clients that misbehave."""
