import { parseArgs } from 'node:util';
import { startStandIn } from '../test/support/apisix-stand-in/stand-in.ts';
import { startControlPlane } from '../test/support/control-plane/control-plane.ts';
import { requireTool } from '../test/support/external-tool.ts';
import { installCrds, installRbac, type Operator, startOperator } from '../test/support/operator.ts';
import { ensureConsul } from '../test/support/registries/consul-binary.ts';
import { ensureZooKeeper } from '../test/support/registries/zookeeper-server.ts';
import { writeSecret } from '../test/support/workload.ts';
import { kubernetesStory } from './kubernetes-story.ts';
import { REGISTRIES, registryStory } from './registry-story.ts';
import { Demo, object } from './stage.ts';
import { paint, print, show, step } from './terminal.ts';

/**
 * Shows the operator in a terminal, with a real control plane and a stand-in for the gateway. `--registries`: with real
 * servers of Consul and ZooKeeper.
 */

const CONNECTION = 'default';

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { keep: { type: 'boolean', default: false }, registries: { type: 'boolean', default: false } },
  });
  if (values.registries) {
    let missing: string | undefined;
    for (const ensure of [ensureConsul, ensureZooKeeper]) {
      await requireTool((reason) => {
        missing ??= reason;
      }, ensure);
    }
    if (missing !== undefined) return print(`skipped: ${missing}`);
  }
  const began = performance.now();
  await using cleanup = new AsyncDisposableStack();

  step('A real Kubernetes control plane, and a stand-in for Apache APISIX');
  const cluster = cleanup.use(await startControlPlane({ report: (line) => show(line) }));
  const gateway = cleanup.use(await startStandIn());
  show(`API server ${cluster.server}, Admin API ${gateway.adminUrl}, data plane ${gateway.proxyUrl}`);

  step('CRDs, RBAC, and the operator with its ServiceAccount token');
  await installCrds(cluster);
  const namespace = 'gateway-upstream-system';
  await cluster.kubectl(['create', 'namespace', namespace]);
  const token = await installRbac(cluster, namespace, [], { watchNodes: true });
  await writeSecret(cluster, namespace, 'apisix-admin', { 'admin-key': gateway.adminKey });
  const operator: Operator = cleanup.use(
    await startOperator(cluster, namespace, token, { logLevel: 'info', watchNodes: true }),
  );
  await operator.ready();
  show('the operator is ready');

  const demo = new Demo(cluster, gateway);
  await demo.apply(
    object(
      'GatewayConnection',
      CONNECTION,
      `  type: APISIX
  apisix:
    adminUrl: ${gateway.adminUrl}
    adminKeySecretRef: { name: apisix-admin }
  allowedNamespaces: { all: true }${values.registries ? `\n  allowedRegistries: [${REGISTRIES.join(', ')}]` : ''}
  # The servers of this demo are on loopback, which is denied by default.
  addresses: { allow: [127.0.0.0/8] }`,
    ),
  );
  await demo.kubectl(`wait --for=condition=Ready gwc/${CONNECTION} --timeout=30s`);

  await (values.registries ? registryStory : kubernetesStory)(demo, cleanup);
  print(`\n${paint(32, `Done in ${((performance.now() - began) / 1000).toFixed(0)} s.`)}`);

  if (values.keep) {
    print(`
The demo keeps running. In another terminal:

  export KUBECONFIG=${cluster.kubeconfig}
  ${cluster.binaries.kubectl} get gatewayupstreams -A
  curl -H 'X-API-KEY: ${gateway.adminKey}' ${gateway.adminUrl}/apisix/admin/upstreams

Press Ctrl-C to stop and clean up.`);
    await new Promise<void>((resolve) => process.once('SIGINT', () => resolve()));
    return;
  }
}

await main();
process.exit(0);
