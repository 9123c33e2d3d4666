import type { Reporter } from '../../src/engine/status/reporter.ts';

/** Ignores all reports. */
export const noReports: Reporter = {
  upstream: () => undefined,
  connection: () => undefined,
  set: () => undefined,
  registry: () => undefined,
  seen: () => undefined,
  dataPlanes: () => undefined,
  event: () => undefined,
  forget: () => undefined,
  depths: () => [],
  close: async () => undefined,
};
