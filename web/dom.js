// Builds elements. Texts become text nodes, so what people write never becomes markup.

/** An element: `h("a", { href: "#/", class: "link" }, "text", otherElement)`. Attributes that are null are left out. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Make the children of an element those of the list; elements that stay keep focus and scroll position. */
export function setChildren(element, children) {
  let current = element.firstChild;
  for (const child of children) {
    if (child === current) current = current.nextSibling;
    else element.insertBefore(child, current);
  }
  while (current) {
    const next = current.nextSibling;
    current.remove();
    current = next;
  }
}

/** Tell people who use a screen reader. */
export function announce(text) {
  document.getElementById("announcements").textContent = text;
}
