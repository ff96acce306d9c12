//! A cloud in a box: an emulated HIL and switches that speak the real protocols.
