import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { eventually } from '../support/eventually.ts';
import { installCrds, installRbac, startOperator } from '../support/operator.ts';
import { sharedControlPlane } from '../support/shared-control-plane.ts';
import { hostsOf } from '../support/whole-cluster.ts';
import { createWorkload, writeSecret } from '../support/workload.ts';

/** `FOREIGN_UPSTREAMS=10000` creates a list of 46 MiB and takes a few minutes (docs/decisions/0033-lists-of-gateways-are-read-item-by-item.md). */
const FOREIGN = Number(process.env['FOREIGN_UPSTREAMS'] ?? 300);
const NODES = 98;
const AT_ONCE = 40;
const LIMIT_MIB = 512;

const cluster = await sharedControlPlane();

/** The current and peak RSS of a process, in MiB. */
async function memoryOf(pid: number | undefined): Promise<{ readonly rss: number; readonly peak: number }> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const mebibytes = (field: string) =>
    Math.round(Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1]) / 1024);
  return { rss: mebibytes('VmRSS'), peak: mebibytes('VmHWM') };
}

describe('a gateway with many foreign upstreams', () => {
  it('is listed repeatedly within the memory limit of the chart', async () => {
    await using gateway = await startStandIn();
    const headers = { 'x-api-key': gateway.adminKey, 'content-type': 'application/json' };
    const put = (index: number) =>
      fetch(`${gateway.adminUrl}/apisix/admin/upstreams/foreign-${index}`, {
        method: 'PUT',
        headers,
        body: JSON.stringify({
          type: 'roundrobin',
          labels: { team: `team-${index % 50}` },
          nodes: Array.from({ length: NODES }, (_, n) => ({
            host: `10.${(index >> 8) & 255}.${index & 255}.${n}`,
            port: 8080,
            weight: 1,
          })),
        }),
      }).then((response) => response.arrayBuffer());
    for (let from = 0; from < FOREIGN; from += AT_ONCE) {
      const size = Math.min(AT_ONCE, FOREIGN - from);
      await Promise.all(Array.from({ length: size }, (_, n) => put(from + n)));
      gateway.clearRequests();
    }
    await installCrds(cluster);
    const namespace = await cluster.newNamespace('operator');
    const token = await installRbac(cluster, namespace);
    await writeSecret(cluster, namespace, 'gateway', { 'admin-key': gateway.adminKey });
    const shop = createWorkload(cluster, await cluster.newNamespace('shop'));
    await shop.service('web');
    await shop.endpoints('web', ['10.0.0.1']);
    await shop.connection('large', { adminUrl: gateway.adminUrl, secret: 'gateway' });
    await shop.upstream('web', {
      connectionRef: { name: 'large' },
      backends: [{ serviceRef: { name: 'web', port: 80 } }],
    });
    await using operator = await startOperator(cluster, namespace, token, {
      resyncInterval: '1s',
      requestTimeout: '60s',
      leaderElection: { enabled: false },
      logLevel: 'info',
    });
    await operator.ready();
    const lists = () => gateway.requests.filter(({ path }) => path === '/apisix/admin/upstreams').length;
    await eventually(() => expect(lists()).toBeGreaterThan(8), { timeoutMs: 100_000 });
    expect(hostsOf(gateway, `${shop.namespace}.web`)).toEqual(['10.0.0.1']);
    const { rss, peak } = await memoryOf(operator.process.pid);
    process.stdout.write(`${FOREIGN} foreign upstreams of ${NODES} nodes: RSS ${rss} MiB, at most ${peak}\n`);
    expect(peak).toBeLessThan(LIMIT_MIB);
  }, 600_000);
});
