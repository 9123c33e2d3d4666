import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { createMetrics } from '../../../src/runtime/metrics.ts';
import { type ReadinessCheck, startOpsServer } from '../../../src/runtime/ops-server.ts';

let missing = 0;
const metrics = createMetrics();
metrics.collect(
  { name: 'things_missing', type: 'gauge', help: 'Things that are missing.', labels: ['thing'] },
  () => Array.from({ length: missing }, (_, n) => ({ labels: { thing: `t${n}` }, value: 1 })),
);

async function start(...checks: readonly ReadinessCheck[]) {
  const server = await startOpsServer({ host: '127.0.0.1', port: 0, checks, metrics });
  onTestFinished(() => server[Symbol.asyncDispose]());
  const ask = async (path: string, method = 'GET') => {
    const response = await fetch(`http://127.0.0.1:${server.port}${path}`, { method });
    return { status: response.status, text: await response.text() };
  };
  return { server, ask };
}

const fine = (name: string): ReadinessCheck => ({ name, problem: () => undefined });

describe('ops server', () => {
  it('reports liveness independent of the checks', async () => {
    const { ask } = await start({ name: 'services', problem: () => 'syncing' });
    expect(await ask('/livez')).toEqual({ status: 200, text: 'ok\n' });
  });

  it('is ready if all checks pass, and lists each of them', async () => {
    const { ask } = await start(fine('services'), fine('secrets'));
    expect(await ask('/readyz?verbose')).toEqual({ status: 200, text: '[+]services ok\n[+]secrets ok\n' });
  });

  it('shows the note of a check that passes', async () => {
    const { ask } = await start(
      { ...fine('lease'), note: () => 'standby' },
      { ...fine('watch'), note: () => undefined },
    );
    expect(await ask('/readyz')).toEqual({ status: 200, text: '[+]lease ok: standby\n[+]watch ok\n' });
  });

  it('is not ready while a check fails', async () => {
    let problem: string | undefined = 'syncing: forbidden';
    const { ask } = await start(fine('services'), { name: 'secrets', problem: () => problem });
    expect(await ask('/readyz')).toEqual({
      status: 503,
      text: '[+]services ok\n[-]secrets failed: syncing: forbidden\n',
    });
    problem = undefined;
    expect((await ask('/readyz')).status).toBe(200);
  });

  it('serves current metrics without series that no longer exist', async () => {
    const { ask } = await start();
    missing = 2;
    expect((await ask('/metrics')).text).toMatch(
      /^things_missing\{thing="t0"\} 1\nthings_missing\{thing="t1"\} 1$/m,
    );
    missing = 0;
    const { status, text } = await ask('/metrics');
    expect(status).toBe(200);
    expect(text).not.toContain('things_missing{');
    expect(text).toContain('process_resident_memory_bytes');
  });

  it('serves /debug/state only if enabled, and only for GET', async () => {
    const { ask } = await start();
    expect((await ask('/debug/state')).status).toBe(404);
    const options = { host: '127.0.0.1', port: 0, checks: [], metrics };
    const debugState = vi.fn(async () => ({ upstreams: [1] }));
    const server = await startOpsServer({ ...options, debugState });
    onTestFinished(() => server[Symbol.asyncDispose]());
    const url = `http://127.0.0.1:${server.port}/debug/state`;
    const response = await fetch(url);
    expect(response.headers.get('content-type')).toBe('application/json');
    expect(await response.json()).toEqual({ upstreams: [1] });
    expect((await fetch(url, { method: 'POST' })).status).toBe(404);
    debugState.mockRejectedValueOnce(new Error('a defect'));
    expect((await fetch(url)).status).toBe(500);
    expect((await fetch(url)).status).toBe(200);
  });

  it('is not ready if a check throws, and keeps running', async () => {
    const { ask } = await start(
      {
        name: 'services',
        problem: () => {
          throw new Error('a defect');
        },
      },
      fine('secrets'),
    );
    expect(await ask('/readyz')).toMatchObject({ status: 503, text: expect.stringContaining('a defect') });
    expect((await ask('/livez')).status).toBe(200);
  });

  it.each([
    ['GET', '/'],
    ['GET', '/livez/'],
    ['GET', '/healthz'],
    ['POST', '/livez'],
    ['DELETE', '/readyz'],
  ])('answers 404 to %s %s', async (method, path) => {
    const { ask } = await start();
    expect((await ask(path, method)).status).toBe(404);
  });

  it('rejects if its port is in use', async () => {
    const { server } = await start();
    const second = startOpsServer({ host: '127.0.0.1', port: server.port, checks: [], metrics });
    await expect(second).rejects.toMatchObject({ code: 'EADDRINUSE' });
  });

  it('closes even if a client keeps its connection open', async () => {
    const server = await startOpsServer({ host: '127.0.0.1', port: 0, checks: [], metrics });
    const client = connect({ host: '127.0.0.1', port: server.port });
    client.on('error', () => undefined);
    await once(client, 'connect');
    client.write('GET /livez HTTP/1.1\r\nHost: a\r\n\r\n');
    await once(client, 'data');
    await server[Symbol.asyncDispose]();
    if (!client.closed) await once(client, 'close');
    expect(client.destroyed).toBe(true);
  });
});
