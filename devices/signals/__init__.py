"""Signal code that runs on the gateway and on the server alike."""
