/** The weight in an entry of the metadata of an instance; `otherwise` if the entry is missing or not a number. */
export function metadataWeight(text: string | undefined, otherwise: number): number {
  return text !== undefined && /^[0-9]{1,6}([.][0-9]{1,6})?$/.test(text) ? Number(text) : otherwise;
}
