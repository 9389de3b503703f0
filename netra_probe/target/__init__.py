"""What a deployment is and what may be done to it: parameter files, modes, secrets by reference, TLS."""
