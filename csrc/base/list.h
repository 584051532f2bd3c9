/* A circular doubly linked list inside the linked structs. Header only. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *prev;
};

#define LIST_ENTRY(link, type, member) ((type *)(void *)((char *)(link) - offsetof(type, member)))
#define LIST_FOR_EACH(link, head)                                                                  \
    for (struct list *link = (head)->next; link != (head); link = link->next)
#define LIST_FOR_EACH_SAFE(link, after, head)                                                      \
    for (struct list *link = (head)->next, *after = link->next; link != (head);                    \
         link = after, after = link->next)

static inline void list_init(struct list *head)
{
    head->next = head->prev = head;
}
static inline bool list_is_empty(const struct list *head)
{
    return head->next == head;
}
static inline void list_add_front(struct list *head, struct list *link)
{
    link->next = head->next;
    link->prev = head;
    head->next->prev = link;
    head->next = link;
}
static inline void list_add_back(struct list *head, struct list *link)
{
    list_add_front(head->prev, link);
}
static inline void list_remove(struct list *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    list_init(link);
}

#endif
