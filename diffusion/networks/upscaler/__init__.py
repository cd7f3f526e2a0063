"""Networks that enlarge pictures: the ESRGAN family, and the compact form of Real-ESRGAN."""
