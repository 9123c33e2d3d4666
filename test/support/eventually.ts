import { setTimeout as sleep } from 'node:timers/promises';

/** Retries `assertion` until it does not throw. Rejects with its last error after `timeoutMs` (default: 60 s, for busy machines). */
export async function eventually<T>(
  assertion: () => T | Promise<T>,
  options: { readonly timeoutMs?: number; readonly intervalMs?: number } = {},
): Promise<T> {
  const deadline = performance.now() + (options.timeoutMs ?? 60_000);
  for (;;) {
    try {
      return await assertion();
    } catch (error) {
      if (performance.now() >= deadline) throw error;
    }
    await sleep(options.intervalMs ?? 25);
  }
}
