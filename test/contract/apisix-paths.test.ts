import fc from 'fast-check';
import { expect, it } from 'vitest';
import { GatewayRejectedError } from '../../src/model/errors.ts';
import type { Upstream } from '../../src/model/upstream.ts';
import { startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { apisixDriver } from './apisix-harness.ts';

const unused = new AbortController().signal;

it('rejects an id before any request, or keeps it as the last segment of the path', async () => {
  await using standIn = await startStandIn();
  const driver = apisixDriver(standIn);
  const piece = fc.constantFrom(
    'a',
    '.',
    '..',
    '/',
    '\\',
    '%2e',
    '%2f',
    '?',
    '#',
    '&',
    '=',
    ' ',
    '\n',
    '\0',
    'é',
    ':',
    '@',
  );
  const id = fc.oneof(
    fc.string(),
    fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join('')),
  );
  await fc.assert(
    fc.asyncProperty(id, async (candidate) => {
      standIn.clearRequests();
      const upstream: Upstream = {
        id: candidate,
        labels: {},
        nodes: [],
        scheme: 'HTTP',
        loadBalancing: { type: 'RoundRobin' },
      };
      const calls = [
        () => driver.put(upstream, unused),
        () => driver.get(candidate, unused),
        () => driver.delete(candidate, { references: 'ignore' }, unused),
      ];
      for (const call of calls) {
        const failure = await call().then(
          () => undefined,
          (error: unknown) => error,
        );
        if (failure !== undefined) expect(failure).toBeInstanceOf(GatewayRejectedError);
      }
      const paths = standIn.requests.map(({ path }) => path);
      if (paths.length > 0) {
        const own = `/apisix/admin/upstreams/${candidate}`;
        expect(candidate).toMatch(/^[a-zA-Z0-9._-]{1,64}$/);
        expect(paths).toEqual([own, own, `${own}?force=true`]);
      }
    }),
    { numRuns: 500 },
  );
});
