"""What is measured: each module's Subject makes pictures in a process of its own, Weft's and its peers' alike."""
