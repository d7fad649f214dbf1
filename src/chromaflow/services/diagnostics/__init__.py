"""What is installed and running here, and what is missing."""
