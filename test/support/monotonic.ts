/** The machine's monotonic clock in milliseconds, which is comparable between processes. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
