"""Pictures that lead a run: ControlNets and T2I-Adapters, from their files to what they add to the UNet."""
