import { setTimeout as sleep } from 'node:timers/promises';
import type { ClusterAccess } from '../test/support/control-plane/cluster-access.ts';

/** Requests that retry while the API server is down or restarting. */
export interface PatientCluster {
  /** @throws the error of the last try. */
  create(path: string, body: object): Promise<void>;
  /** Replaces the object, or creates it in `collection`. */
  replace(collection: string, name: string, body: object): Promise<void>;
  patch(path: string, body: object): Promise<void>;
  remove(path: string): Promise<void>;
  /** Undefined if the object does not exist. */
  get(path: string): Promise<Record<string, unknown> | undefined>;
}

const TRIES = 60;
const PAUSE_MS = 250;

export function createPatientCluster(cluster: ClusterAccess): PatientCluster {
  const send = async (method: string, path: string, body: object | undefined, fine: readonly number[]) => {
    let last = '';
    for (let attempt = 0; attempt < TRIES; attempt += 1) {
      if (attempt > 0) await sleep(PAUSE_MS);
      try {
        const answer = await cluster.request(method, path, body);
        if (answer.status < 300 || fine.includes(answer.status)) return answer;
        last = `${answer.status} ${JSON.stringify(answer.body)}`;
        if (answer.status < 500 && answer.status !== 429 && answer.status !== 409) break;
      } catch (error) {
        last = error instanceof Error ? error.message : String(error);
      }
    }
    throw new Error(`${method} ${path}: ${last}`);
  };
  return {
    async create(path, body) {
      // An earlier try without a response may have created it.
      await send('POST', path, body, [409]);
    },
    async replace(collection, name, body) {
      const { status } = await send('PUT', `${collection}/${name}`, body, [404]);
      if (status === 404) await send('POST', collection, body, [409]);
    },
    async patch(path, body) {
      await send('PATCH', path, body, []);
    },
    async remove(path) {
      await send('DELETE', path, undefined, [404]);
    },
    async get(path) {
      const { status, body } = await send('GET', path, undefined, [404]);
      return status === 404 ? undefined : (body as Record<string, unknown>);
    },
  };
}
