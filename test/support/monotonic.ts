/** The machine's monotonic clock in milliseconds: readings of several processes may be compared. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
