import type { ClusterAccess } from './control-plane/cluster-access.ts';

/** Replaces the kubelet and the scheduler for the Pods of one namespace until disposed. */
export interface Kubelet extends AsyncDisposable {
  /** Sets whether existing and future Pods are ready. */
  healthy: boolean;
}

interface Pod {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly uid: string;
    readonly deletionTimestamp?: string;
  };
  readonly spec: { readonly nodeName?: string };
  readonly status?: {
    readonly podIP?: string;
    readonly conditions?: readonly { type: string; status: string }[];
  };
}

const NODE = 'node-1';
/** Pods stay terminating for at least this number of iterations, like real ones. */
const LOOKS_BEFORE_GONE = 3;

/** Each Pod gets an address in 10.44.0.0/16 and becomes ready. A deleted Pod terminates and is then removed. */
export async function startKubelet(cluster: ClusterAccess, namespace: string): Promise<Kubelet> {
  const send = async (method: string, path: string, body?: object, contentType?: string) => {
    const answer = await cluster.request(
      method,
      path,
      body,
      contentType === undefined ? {} : { contentType },
    );
    // Deleted or changed in the meantime, which the next iteration handles.
    if (answer.status >= 300 && ![404, 409].includes(answer.status)) {
      throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    }
    return answer;
  };
  await send('POST', '/api/v1/nodes', { apiVersion: 'v1', kind: 'Node', metadata: { name: NODE } });
  const pods = `/api/v1/namespaces/${namespace}/pods`;
  const addresses = new Map<string, string>();
  const terminatingFor = new Map<string, number>();
  const kubelet = { healthy: true };

  async function look(): Promise<void> {
    const { body } = await send('GET', pods);
    for (const pod of (body as { readonly items: readonly Pod[] }).items) await keep(pod);
  }

  async function keep(pod: Pod): Promise<void> {
    const { name, uid, deletionTimestamp } = pod.metadata;
    if (deletionTimestamp !== undefined) {
      const looks = (terminatingFor.get(uid) ?? 0) + 1;
      terminatingFor.set(uid, looks);
      if (looks >= LOOKS_BEFORE_GONE) {
        await send('DELETE', `${pods}/${name}?gracePeriodSeconds=0`);
      }
      return;
    }
    if (pod.spec.nodeName === undefined) {
      await send('POST', `${pods}/${name}/binding`, {
        apiVersion: 'v1',
        kind: 'Binding',
        metadata: { name },
        target: { apiVersion: 'v1', kind: 'Node', name: NODE },
      });
      return;
    }
    const ready = kubelet.healthy ? 'True' : 'False';
    const is = pod.status?.conditions?.find(({ type }) => type === 'Ready')?.status;
    if (is === ready) return;
    const address = addresses.get(uid) ?? `10.44.${(addresses.size + 1) >> 8}.${(addresses.size + 1) & 255}`;
    addresses.set(uid, address);
    await send(
      'PATCH',
      `${pods}/${name}/status`,
      {
        status: {
          phase: 'Running',
          podIP: address,
          podIPs: [{ ip: address }],
          conditions: [{ type: 'Ready', status: ready }],
        },
      },
      'application/strategic-merge-patch+json',
    );
  }

  const stop = new AbortController();
  const ended = (async () => {
    while (!stop.signal.aborted) {
      await look();
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  })();
  // An error is thrown at disposal. Until then, Pods do not change.
  ended.catch(() => undefined);

  return Object.assign(kubelet, {
    async [Symbol.asyncDispose]() {
      stop.abort();
      await ended;
    },
  });
}
