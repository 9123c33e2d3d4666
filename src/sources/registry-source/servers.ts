/** The servers of one registry. All requests go to one of them until it fails. */
export class Servers {
  readonly #urls: readonly URL[];
  #current = 0;

  /** `first`: index of the server to begin with, so that replicas and registries do not all use the first one. */
  constructor(urls: readonly URL[], first: number) {
    this.#urls = urls;
    this.#current = first % urls.length;
  }

  get count(): number {
    return this.#urls.length;
  }

  get current(): URL {
    const url = this.#urls[this.#current];
    if (url === undefined) throw new Error('a registry needs at least one server');
    return url;
  }

  /** Moves on to the next server. Does nothing if another request has moved on from `url` already. */
  failed(url: URL): void {
    if (url === this.current) this.#current = (this.#current + 1) % this.#urls.length;
  }
}
