import { setTimeout as sleep } from 'node:timers/promises';
import type { ToyReport, ToyResource } from './config-server.ts';

const POLL_MS = 25;

/** A data plane that fetches its configuration and uses the last one that it accepted. */
export class ToyDataPlane implements AsyncDisposable {
  readonly #stop = new AbortController();
  readonly #served = new Map<string, ToyResource>();
  readonly #rejected = new Map<string, { readonly revision: number; readonly why: string }>();
  readonly #refuses = new Map<string, string>();
  readonly #running: Promise<void>;
  /** Whether it fetches without applying. */
  paused = false;

  constructor(url: string, token: string, name: string) {
    this.#running = this.#run(`${url}/planes/${name}`, token);
  }

  /** The active configuration of `id`; undefined if it has never accepted one. */
  served(id: string): ToyResource['body'] | undefined {
    return this.#served.get(id)?.body;
  }

  /** Rejects every new configuration of `id` until the result is disposed. */
  refuse(id: string, why: string): Disposable {
    this.#refuses.set(id, why);
    return { [Symbol.dispose]: () => void this.#refuses.delete(id) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(url: string, token: string): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        const headers = { authorization: `Bearer ${token}` };
        const response = await fetch(url, {
          method: 'POST',
          headers,
          body: JSON.stringify(this.#report()),
          signal,
        });
        const { resources } = (await response.json()) as {
          readonly resources: Readonly<Record<string, ToyResource>>;
        };
        if (!this.paused) for (const [id, resource] of Object.entries(resources)) this.#take(id, resource);
        await sleep(POLL_MS, undefined, { signal });
      } catch {
        // The server is down, or the data plane was stopped, which the loop checks next.
        await sleep(POLL_MS);
      }
    }
  }

  #take(id: string, resource: ToyResource): void {
    const why = this.#refuses.get(id);
    if (why === undefined) {
      this.#served.set(id, resource);
      this.#rejected.delete(id);
    } else if (this.#served.get(id)?.revision !== resource.revision) {
      this.#rejected.set(id, { revision: resource.revision, why });
    }
  }

  #report(): ToyReport {
    return {
      applied: Object.fromEntries([...this.#served].map(([id, { revision }]) => [id, revision])),
      rejected: Object.fromEntries(this.#rejected),
    };
  }
}
