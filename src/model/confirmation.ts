/** Whether the gateway works by what was written last. */
export type Confirmation =
  | { readonly state: 'confirmed' }
  /** Its data planes have not all fetched it yet. */
  | { readonly state: 'pending'; readonly message: string }
  /** A data plane refused it and goes on with what it accepted before. */
  | { readonly state: 'rejected'; readonly message: string };
