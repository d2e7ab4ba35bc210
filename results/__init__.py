"""What comes out: pictures, tables and figures, and the code that makes them."""
