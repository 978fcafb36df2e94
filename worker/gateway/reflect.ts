/**
 * @peculiar/x509 wires its parts with tsyringe, which refuses to load without `Reflect.getMetadata`
 * (https://github.com/PeculiarVentures/x509#-reflect-polyfill-required). None of those parts has injected parameters,
 * so "no metadata" is the true answer, and a polyfill package would add nothing. Imported before it.
 */
const metadata = Reflect as { getMetadata?: () => undefined; getOwnMetadata?: () => undefined };
metadata.getMetadata ??= () => undefined;
metadata.getOwnMetadata ??= () => undefined;
