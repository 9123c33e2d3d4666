import { setTimeout as sleep } from 'node:timers/promises';
import type { Confirmations } from '../../../src/gateways/driver.ts';
import type { Confirmation } from '../../../src/model/confirmation.ts';
import type { UpstreamId } from '../../../src/model/upstream.ts';
import type { ToyClient } from './client.ts';
import type { ToyReport } from './config-server.ts';

const POLL_MS = 50;

/** Polls the reports of the data planes while there is a listener. */
export class ToyConfirmations implements Confirmations {
  readonly #client: ToyClient;
  readonly #stop = new AbortController();
  readonly #revisions = new Map<UpstreamId, number>();
  readonly #listeners = new Set<(id: UpstreamId | undefined) => void>();
  #planes: ReadonlyMap<string, ToyReport> = new Map();
  #running = false;

  constructor(client: ToyClient) {
    this.#client = client;
  }

  /** Records the written revision of `id`. */
  wrote(id: UpstreamId, revision: number): void {
    this.#revisions.set(id, revision);
  }

  forget(id: UpstreamId): void {
    this.#revisions.delete(id);
  }

  of(id: UpstreamId): Confirmation {
    return this.#in(this.#planes, id);
  }

  connectedDataPlanes(): readonly string[] {
    return [...this.#planes.keys()].sort();
  }

  onChange(listener: (id: UpstreamId | undefined) => void): Disposable {
    this.#listeners.add(listener);
    if (!this.#running) void this.#run();
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  close(): void {
    this.#stop.abort();
  }

  #in(planes: ReadonlyMap<string, ToyReport>, id: UpstreamId): Confirmation {
    const revision = this.#revisions.get(id);
    if (revision === undefined || planes.size === 0) {
      return { state: 'pending', message: 'no data plane is connected' };
    }
    for (const [name, { rejected }] of planes) {
      const refusal = rejected[id];
      if (refusal?.revision === revision) {
        return { state: 'rejected', message: `data plane ${name} says: ${refusal.why}` };
      }
    }
    const behind = [...planes.values()].filter(({ applied }) => (applied[id] ?? 0) < revision).length;
    if (behind === 0) return { state: 'confirmed' };
    return { state: 'pending', message: `${behind} of ${planes.size} data planes have not fetched it yet` };
  }

  async #run(): Promise<void> {
    this.#running = true;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        const answer = await this.#client.ask('GET', 'planes', undefined, signal);
        this.#learn(new Map(Object.entries(answer as Readonly<Record<string, ToyReport>>)));
        await sleep(POLL_MS, undefined, { signal });
      } catch {
        // Keep the last state until the server answers again.
        if (!signal.aborted) await sleep(POLL_MS);
      }
    }
  }

  #learn(planes: ReadonlyMap<string, ToyReport>): void {
    const before = this.#planes;
    this.#planes = planes;
    const names = (map: ReadonlyMap<string, ToyReport>) => [...map.keys()].sort().join(' ');
    if (names(before) !== names(planes)) this.#tell(undefined);
    for (const id of this.#revisions.keys()) {
      if (JSON.stringify(this.#in(before, id)) !== JSON.stringify(this.#in(planes, id))) this.#tell(id);
    }
  }

  #tell(id: UpstreamId | undefined): void {
    for (const listener of this.#listeners) listener(id);
  }
}
