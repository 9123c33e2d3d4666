/** Per service: tenants choose how many different options there are. */
const MAX_VIEWS = 32;

/** Keeps what was made of one answer, by the options of a backend. */
export class Views<View> {
  readonly #views = new Map<string, View>();

  get(options: unknown, make: () => View): View {
    const key = JSON.stringify(options ?? null);
    const known = this.#views.get(key);
    if (known !== undefined) return known;
    const view = make();
    const [oldest] = this.#views.keys();
    if (this.#views.size >= MAX_VIEWS && oldest !== undefined) this.#views.delete(oldest);
    this.#views.set(key, view);
    return view;
  }

  clear(): void {
    this.#views.clear();
  }
}
