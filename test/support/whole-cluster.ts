import type { StandIn } from './apisix-stand-in/stand-in.ts';
import { type ControlPlane, startControlPlane } from './control-plane/control-plane.ts';
import { installCrds, installRbac, type Operator, type OperatorOptions, startOperator } from './operator.ts';
import { createWorkload, type Workload, writeSecret } from './workload.ts';

/** A separate control plane with an operator, and a namespace `apps` that may use connection `default`. */
export interface WholeCluster extends AsyncDisposable {
  readonly controlPlane: ControlPlane;
  readonly operator: Operator;
  readonly work: Workload;
}

/** `prepare` creates objects before the operator starts. */
export async function startWholeCluster(
  gateway: StandIn,
  options: OperatorOptions & { readonly clusterId: string },
  prepare: (work: Workload) => Promise<void> = async () => undefined,
): Promise<WholeCluster> {
  const controlPlane = await startControlPlane();
  try {
    await installCrds(controlPlane);
    const namespace = await controlPlane.newNamespace('operator');
    const token = await installRbac(controlPlane, namespace);
    await writeSecret(controlPlane, namespace, 'gateway', { 'admin-key': gateway.adminKey });
    await controlPlane.request('POST', '/api/v1/namespaces', { metadata: { name: 'apps' } });
    const work = createWorkload(controlPlane, 'apps');
    await work.connection('default', { adminUrl: gateway.adminUrl, secret: 'gateway' });
    await prepare(work);
    const operator = await startOperator(controlPlane, namespace, token, {
      resyncInterval: '2s',
      ...options,
    });
    await operator.ready();
    return {
      controlPlane,
      operator,
      work,
      async [Symbol.asyncDispose]() {
        await operator[Symbol.asyncDispose]();
        await controlPlane.close();
      },
    };
  } catch (error) {
    await controlPlane.close();
    throw error;
  }
}

/** The hosts of an upstream in the gateway. */
export function hostsOf(gateway: StandIn, id: string): readonly string[] | undefined {
  const value = gateway.get('upstreams', id) as
    | { readonly nodes: readonly { readonly host: string }[] }
    | undefined;
  return value?.nodes.map(({ host }) => host);
}
