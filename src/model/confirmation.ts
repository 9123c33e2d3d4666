/** Whether the data planes use the last written configuration. */
export type Confirmation =
  | { readonly state: 'confirmed' }
  /** Some data planes have not fetched it yet. */
  | { readonly state: 'pending'; readonly message: string }
  /** A data plane rejected it and keeps its previous configuration. */
  | { readonly state: 'rejected'; readonly message: string };
