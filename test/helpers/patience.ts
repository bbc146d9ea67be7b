/** So that nothing fails because the machine is busy. A test of a limit sets the real one. */
export const PATIENCE = {
  maxDatabaseWaitMs: 60_000,
  storeSilenceMs: 60_000,
  cleanupWaitMs: 60_000,
  traceStopMs: 60_000
}
