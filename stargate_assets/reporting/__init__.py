"""What people look at: figures, and the report as one HTML file. Frames in, text out."""
