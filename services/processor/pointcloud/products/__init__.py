"""What is made of a cloud besides the COPC file: one product a module, presence is registration."""
