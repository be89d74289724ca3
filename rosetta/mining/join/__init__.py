"""Two generators compared through the discriminative models that saw the images of both."""
