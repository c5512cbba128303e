"""The SRT connection and the links that it is bonded over."""
