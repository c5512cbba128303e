"""The board itself: processors, memory, disks, heat, power, accelerators."""
