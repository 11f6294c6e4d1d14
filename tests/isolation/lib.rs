//! Holds the test's dependencies, with which trybuild compiles each case.
