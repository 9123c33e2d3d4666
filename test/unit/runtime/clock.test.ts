import { spawn } from 'node:child_process';
import { getEventListeners, once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/runtime/clock.ts';

describe('systemClock', () => {
  it('removes the listener from the signal after a sleep', async () => {
    const { signal } = new AbortController();
    await Promise.all(Array.from({ length: 1000 }, () => systemClock.sleep(0, signal)));
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  it("rejects a sleep with the signal's reason if the signal aborts before or during it", async () => {
    const reason = new Error('enough');
    await expect(systemClock.sleep(0, AbortSignal.abort(reason))).rejects.toBe(reason);
    const stop = new AbortController();
    const sleeping = systemClock.sleep(600_000, stop.signal);
    stop.abort(reason);
    await expect(sleeping).rejects.toBe(reason);
  });

  it('does not fire a timer that was disposed', async () => {
    const fired: string[] = [];
    systemClock.setTimer(0, () => fired.push('disposed'))[Symbol.dispose]();
    await new Promise<void>((resolve) =>
      systemClock.setTimer(1, () => {
        fired.push('kept');
        resolve();
      }),
    );
    expect(fired).toEqual(['kept']);
  });

  it('does not fire a very long timer immediately, and does not keep the process alive after an abort', async () => {
    const clock = JSON.stringify(new URL('../../../src/runtime/clock.ts', import.meta.url).href);
    const script = `
      const { systemClock } = await import(${clock});
      const stop = new AbortController();
      const year = 365 * 24 * 3_600_000;
      const timer = systemClock.setTimer(year, () => process.stdout.write('fired '));
      const sleeping = systemClock.sleep(year, stop.signal).then(
        () => process.stdout.write('slept '), () => process.stdout.write('aborted '));
      setTimeout(() => { timer[Symbol.dispose](); stop.abort(); }, 100);
      await sleeping;`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script]);
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        output += chunk.toString();
      });
    }
    const [code] = await once(child, 'close');
    expect({ code, output }).toEqual({ code: 0, output: 'aborted ' });
  });
});
