import { describe, expect, it } from 'vitest';
import type { ApisixOptions } from '../../src/gateways/apisix/client.ts';
import { createApisixDriver } from '../../src/gateways/apisix/driver.ts';
import type { Upstream } from '../../src/model/upstream.ts';
import { startStandIn } from '../support/apisix-stand-in/stand-in.ts';

const unused = new AbortController().signal;
const upstream: Upstream = {
  id: 'u1',
  labels: {},
  nodes: [],
  scheme: 'HTTP',
  loadBalancing: { type: 'RoundRobin' },
};

function driverFor(gateway: Pick<ApisixOptions, 'adminUrl' | 'adminKey'>) {
  const { adminUrl, adminKey } = gateway;
  return createApisixDriver({
    adminUrl,
    adminKey,
    tls: { insecureSkipVerify: false },
    concurrency: 2,
    requestTimeoutMs: 60_000,
  });
}

async function messageOf(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => expect.unreachable('it did not reject'),
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );
}

describe('messages of the APISIX driver', () => {
  it('are well-formed text without bidirectional control characters, wherever they are shortened', async () => {
    await using standIn = await startStandIn();
    for (let length = 505; length <= 512; length += 1) {
      const words = `\u202e\u0000${'x'.repeat(length)}${'\u{1f600}'.repeat(4)}`;
      using _refusal = standIn.addFault({
        fault: { kind: 'answer', status: 400, body: JSON.stringify({ error_msg: words }) },
      });
      const message = await messageOf(driverFor(standIn).put(upstream, unused));
      expect(message.isWellFormed()).toBe(true);
      expect(message).not.toMatch(/[\p{Cc}\p{Cf}]/u);
    }
  });
});
