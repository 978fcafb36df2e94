/**
 * Where an object's file lies, and back.
 *
 * Key segments become folders with a `+` behind their name, so that the keys `a` and `a/b` can both exist. File names
 * take at most 255 bytes, so a segment is cut every {@link PIECE_CHARACTERS} characters into folders with `~`, and the
 * file at the end of a cut segment ends in `=` (which also keeps a rest like `..` from meaning something). None of
 * these three characters occurs in keys. The file system must tell upper from lower case.
 */
const PIECE_CHARACTERS = 200;

/** Names of the folders and of the file, from the root on. The key must have been checked. */
export function filePieces(key: string): readonly string[] {
  const cut = key.lastIndexOf("/") + 1;
  const { pieces, rest } = cutSegment(key.slice(cut));
  return [...folderPieces(key.slice(0, cut)), ...pieces, pieces.length === 0 ? rest : `${rest}=`];
}

/** Names of the folders of a key's part that is empty or ends in `/`. */
export function folderPieces(part: string): readonly string[] {
  return part
    .split("/")
    .slice(0, -1)
    .flatMap((segment) => {
      const { pieces, rest } = cutSegment(segment);
      return [...pieces, `${rest}+`];
    });
}

/**
 * The piece of a key that a folder's entry stands for. All keys below a folder start with its text, and no text at one
 * level starts with a folder's text, so sorting texts sorts keys: the `/` of `a/` falls between `a-b` and `a0`.
 */
export function entryText(name: string, isFolder: boolean): string {
  if (!isFolder) return name.endsWith("=") ? name.slice(0, -1) : name;
  return name.endsWith("+") ? `${name.slice(0, -1)}/` : name.slice(0, -1);
}

function cutSegment(segment: string): { readonly pieces: readonly string[]; readonly rest: string } {
  const pieces: string[] = [];
  let rest = segment;
  while (rest.length >= PIECE_CHARACTERS) {
    pieces.push(`${rest.slice(0, PIECE_CHARACTERS)}~`);
    rest = rest.slice(PIECE_CHARACTERS);
  }
  return { pieces, rest };
}
