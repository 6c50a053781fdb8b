"""What runs at the wearer's side: readings, signatures, the gateway agent, virtual wearables."""
