import { describe, expect, it } from 'vitest';
import { endpointsInConsulAnswer } from '../support/registries/consul-answer.ts';

const MOST_INSTANCES = 10_000;

/** An answer with `count` instances that carry `meta`. */
function answerOf(count: number, meta: Readonly<Record<string, string>> = {}) {
  const entries = Array.from({ length: count }, (_, n) => ({
    Node: { Node: `n${n}`, Address: `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}` },
    Service: { ID: `web-${n}`, Service: 'web', Address: '', Port: 8080, Meta: meta },
    Checks: [],
  }));
  return { headers: { 'x-consul-index': '7' }, body: JSON.stringify(entries) };
}

describe('large answers of Consul', () => {
  it('reads 10,000 instances', async () => {
    expect(await endpointsInConsulAnswer(answerOf(MOST_INSTANCES))).toHaveLength(MOST_INSTANCES);
  });

  // Every server would send the same, and the other services of the registry are not affected.
  it.each([
    ['more instances', MOST_INSTANCES + 1, {}, 'more than 10,000 instances: register fewer instances'],
    [
      'more metadata',
      200,
      { note: 'x'.repeat(50_000) },
      'more than 4 MiB in total: register fewer instances',
    ],
  ])('rejects a service with %s than the limit, whatever the server', async (_, count, meta, message) => {
    await expect(endpointsInConsulAnswer(answerOf(count, meta))).rejects.toMatchObject({
      reason: 'InvalidAnswer',
      scope: 'service',
      message: expect.stringContaining(message),
    });
  });

  it('reads an instance with the most metadata that a Consul agent accepts', async () => {
    const meta = Object.fromEntries(Array.from({ length: 64 }, (_, n) => [`key-${n}`, 'x'.repeat(512)]));
    const [endpoint] = await endpointsInConsulAnswer(answerOf(1, meta));
    expect(endpoint?.metadata).toEqual(meta);
  });
});
